"""What `beatctl demo` works on: the files of a small project, and a scripted agent that edits them."""
