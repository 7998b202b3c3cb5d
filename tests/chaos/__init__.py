"""`make chaos`: whatever may die is killed again and again; nothing may be lost, repeated, missing or left."""
