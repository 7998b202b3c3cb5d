"""A connection's profile: its name, the file it stands in, and what is told when it can't be used.

The file is the temporal CLI's own, read by temporalio.envconfig; TEMPORAL_* variables win over it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temporalio.envconfig import ClientConnectConfig

VARIABLE = "BEATCTL_PROFILE"
FILE = "TEMPORAL_CONFIG_FILE"
_SOURCES = {
    "server_root_ca_cert": ("server_ca_cert_path", "TEMPORAL_TLS_SERVER_CA_CERT_PATH"),
    "client_cert": ("client_cert_path", "TEMPORAL_TLS_CLIENT_CERT_PATH"),
    "client_private_key": ("client_key_path", "TEMPORAL_TLS_CLIENT_KEY_PATH"),
}
"""What a profile may name a file for: its key in the file, and the variable that wins over it."""


class BadProfile(Exception):
    """A profile can't be used; the text says why, in which file, and what to do."""


def leads_elsewhere(environ: Mapping[str, str]) -> bool:
    """Whether the loops of this environment belong on a shared server."""
    return bool(environ.get(VARIABLE) or environ.get("TEMPORAL_ADDRESS"))


def name_of(environ: Mapping[str, str]) -> str | None:
    """The profile whose TLS and API key count; None where no name was given."""
    return environ.get(VARIABLE) or environ.get("TEMPORAL_PROFILE") or None


def file_of(environ: Mapping[str, str]) -> Path:
    """The file with the profiles: `TEMPORAL_CONFIG_FILE`, else where the temporal CLI has it
    (`~/.config/temporalio/temporal.toml` on Linux)."""
    named = environ.get(FILE)
    if named:
        return Path(named).absolute()
    import platformdirs

    return platformdirs.user_config_path("temporalio") / "temporal.toml"


def words(environ: Mapping[str, str]) -> str:
    """Where the connection's settings come from, for messages."""
    name = name_of(environ)
    return f"profile {name} in {file_of(environ)}" if name else "TEMPORAL_ADDRESS"


def settings(environ: Mapping[str, str]) -> ClientConnectConfig:
    """What `Client.connect` takes: address, namespace, TLS, API key. Raises BadProfile."""
    from temporalio.envconfig import ClientConfigProfile

    name, file = name_of(environ), file_of(environ)
    if name is not None:
        _check_file(name, file)
    # The library would look for its default file by this process's environment instead of `environ`.
    known = {**environ, FILE: str(file)} if file.is_file() else dict(environ)
    try:
        profile = ClientConfigProfile.load(name, override_env_vars=known)
    except Exception as problem:  # its class lives in a private module
        raise BadProfile(_why(problem, name, file)) from problem
    for field, (key, variable) in _SOURCES.items():
        source = getattr(profile.tls, field, None)
        if isinstance(source, Path):
            where = variable if environ.get(variable) else f'{key} of profile "{name or "default"}" in {file}'
            _check_source(source, where, anchored=bool(environ.get(variable)))
    return profile.to_client_connect_config()


def without_address(environ: Mapping[str, str]) -> BadProfile:
    """What to raise of a profile that leads nowhere."""
    return BadProfile(
        f'Profile "{name_of(environ)}" in {file_of(environ)} has no address. Write one: '
        'address = "temporal.example.com:7233"'
    )


def _check_file(name: str, file: Path) -> None:
    try:
        with file.open("rb"):
            return
    except FileNotFoundError:
        why = "that file is not there"
    except OSError as problem:
        why = f"that file can't be read ({problem.strerror})"
    raise BadProfile(f'Profile "{name}" should stand in {file}, but {why}. Write it, or name the file in {FILE}.')


def _check_source(source: Path, where: str, *, anchored: bool) -> None:
    if not anchored and not source.is_absolute():
        # The worker stands in another folder than whoever types commands.
        raise BadProfile(f"{where} is {source}: write the whole path, beginning with /.")
    try:
        with source.open("rb"):
            return
    except OSError as problem:
        raise BadProfile(f"{where} names {source}, which can't be read ({problem.strerror}).") from None


def _why(problem: Exception, name: str | None, file: Path) -> str:
    text = " ".join(str(problem).split())
    if name is None or "not found" not in text:
        return f"{file} can't be read: {text}"
    there = _names(file)
    listed = f"There are: {', '.join(there)}." if there else "There are none."
    return f'{file} has no profile "{name}". {listed}'


def _names(file: Path) -> list[str]:
    from temporalio.envconfig import ClientConfig

    return sorted(ClientConfig.load(config_source=file).profiles)


def kept(environ: Mapping[str, str]) -> dict[str, str]:
    """What has to be remembered of the connection for later commands, which may be typed in other shells: no secret."""
    name = name_of(environ)
    return {VARIABLE: name, FILE: str(file_of(environ))} if name else {}


def whole_paths(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that name files, as somebody in another folder needs them."""
    named = [name for name in environ if name.startswith("TEMPORAL_TLS_") and name.endswith("_PATH")]
    return {name: os.path.abspath(environ[name]) for name in [FILE, *named] if environ.get(name)}
