"""A Temporal cluster of the tests' own: PostgreSQL and the server in a folder, on free ports, with TLS both ways."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beatctl.worker.embedded_server import answers
from tests.cluster import certificates
from tests.cluster.programs import Programs
from tests.support import wait_until

PLUGIN = "postgres12_pgx"
DATABASES = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""By database, the schema inside the SQL tool."""
PROFILE = "cluster"
NAMESPACE = "loops"
# As docs/cluster.md names them.
_DYNAMIC = {"history.transferProcessorMaxPollRPS": 5000, "system.enableActivityEagerExecution": True}
_CLOSE_S = 30.0


class Cluster:
    """Its processes and files. `close` ends them; the folder is the caller's."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.programs = programs
        self.user = _account()
        names = ("postgres", *(f"{part}-{use}" for part in _PARTS for use in ("rpc", "members")))
        self.ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._postgres: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['frontend-rpc']}"

    @property
    def environ(self) -> dict[str, str]:
        """What leads beatctl there: a profile with the client's certificate, and the payload key."""
        return {
            "TEMPORAL_CONFIG_FILE": str(self.folder / "temporal.toml"),
            "BEATCTL_PROFILE": PROFILE,
            "BEATCTL_PAYLOAD_KEY_FILE": str(self.folder / "payload.key"),
        }

    def start(self) -> None:
        self.folder.chmod(0o711)  # PostgreSQL's account has to pass through
        certificates.make(self.folder / "tls")
        (self.folder / "payload.key").write_bytes(base64.b64encode(os.urandom(32)))
        tls = self.folder / "tls"
        files = {"server_ca_cert_path": "ca.pem", "client_cert_path": "client.pem", "client_key_path": "client.key"}
        (self.folder / "temporal.toml").write_text(
            f'[profile.{PROFILE}]\naddress = "{self.address}"\nnamespace = "{NAMESPACE}"\n[profile.{PROFILE}.tls]\n'
            + "".join(f'{name} = "{tls / file}"\n' for name, file in files.items())
        )
        self._start_postgres()
        for database, schema in DATABASES.items():
            self._sql(database, "create")
            self._sql(database, "setup-schema", "-v", "0.0")
            self._sql(database, "update-schema", "--schema-name", f"postgresql/v12/{schema}")
        (self.folder / "config").mkdir()
        # JSON is YAML.
        (self.folder / "config" / "dynamic.yaml").write_text(
            json.dumps({name: [{"value": value}] for name, value in _DYNAMIC.items()})
        )
        self._write_settings("tests")
        self._write_settings("refusing", authorization={"authorizer": "default", "claimMapper": "default"})
        self.start_server()

    def start_server(self, *, refusing: bool = False) -> None:
        """`refusing`: one that lets nobody do anything, since none of its callers has a token."""
        kind = "refusing" if refusing else "tests"
        # Its own workers would be refused, too, and it would end with them.
        parts = [f"--service={part}" for part in _PARTS if not (refusing and part == "worker")]
        line: list[str | Path] = [self.programs.server, "--root", self.folder, "--config", "config", "--env", kind]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*line, "--allow-no-auth", "start", *parts], cwd=self.folder, stdout=log, stderr=log
            )
        wait_until(self._answers, f"the server (log: {self.folder}/server.log)", 120, every_s=0.1)

    def _answers(self) -> bool:
        assert self._server is not None
        assert self._server.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        return answers(self.ports["frontend-rpc"])

    def kill_server(self, *, refusing: bool = False) -> None:
        """SIGKILL, and start it again as an init system would."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()
        self.start_server(refusing=refusing)

    def dump(self, database: str) -> str:
        """The whole database as SQL."""
        line: list[str | Path] = [
            self.programs.postgres / "pg_dump",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.ports["postgres"]),
        ]
        return subprocess.run(
            [*line, "-U", "temporal", database], capture_output=True, text=True, check=True, errors="replace"
        ).stdout

    def close(self) -> None:
        for process, number in ((self._server, signal.SIGTERM), (self._postgres, signal.SIGQUIT)):
            if process is None:
                continue
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSE_S)
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start_postgres(self) -> None:
        data = self.folder / "postgres"
        data.mkdir(mode=0o700)
        who: dict[str, Any] = {}
        if self.user is not None:
            os.chown(data, self.user.pw_uid, self.user.pw_gid)
            who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        bins, environ = self.programs.postgres, {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        made: list[str | Path] = [
            bins / "initdb",
            "-D",
            data,
            "-U",
            "temporal",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-sync",
        ]
        subprocess.run(made, cwd=data, env=environ, stdout=subprocess.DEVNULL, check=True, **who)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        program: list[str | Path] = [bins / "postgres", "-D", data, "-p", str(self.ports["postgres"]), *options]
        with (self.folder / "postgres.log").open("wb") as log:
            self._postgres = subprocess.Popen(program, cwd=data, env=environ, stdout=log, stderr=log, **who)
        wait_until(lambda: answers(self.ports["postgres"]), "PostgreSQL", 60)

    def _sql(self, database: str, *words: str) -> None:
        line: list[str | Path] = [
            self.programs.sql,
            "--plugin",
            PLUGIN,
            "--endpoint",
            "127.0.0.1",
            "--user",
            "temporal",
        ]
        line += ["--password", "temporal", "--port", str(self.ports["postgres"]), "--database", database]

        def done() -> bool:
            with (self.folder / "sql.log").open("ab") as log:
                return subprocess.run([*line, *words], stdout=log, stderr=log, check=False).returncode == 0

        # Its port is open a moment before PostgreSQL takes anybody in.
        wait_until(done, f"{words[0]} of {database} (log: {self.folder}/sql.log)", 60, every_s=1)

    def _write_settings(self, name: str, **more: object) -> None:
        settings = self._settings()
        settings["global"] |= more
        (self.folder / "config" / f"{name}.yaml").write_text(json.dumps(settings, indent=1))

    def _settings(self) -> dict[str, Any]:
        tls = self.folder / "tls"
        trusted = {"serverName": "localhost", "rootCaFiles": [str(tls / "ca.pem")]}
        server = {"certFile": str(tls / "server.pem"), "keyFile": str(tls / "server.key")}
        client = {"certFile": str(tls / "client.pem"), "keyFile": str(tls / "client.key")}
        required = {"requireClientAuth": True, "clientCaFiles": [str(tls / "ca.pem")]}
        return {
            "log": {"stdout": True, "level": "warn"},
            "persistence": {
                "defaultStore": "temporal",
                "visibilityStore": "temporal_visibility",
                "numHistoryShards": 4,
                "datastores": {database: {"sql": self._store(database)} for database in DATABASES},
            },
            "global": {
                "membership": {"maxJoinDuration": "30s", "broadcastAddress": "127.0.0.1"},
                "tls": {
                    "frontend": {"server": {**server, **required}, "client": trusted},
                    "systemWorker": {**client, "client": trusted},
                },
            },
            "services": {
                part: {
                    "rpc": {
                        "grpcPort": self.ports[f"{part}-rpc"],
                        "membershipPort": self.ports[f"{part}-members"],
                        "bindOnIP": "127.0.0.1",
                    }
                }
                for part in _PARTS
            },
            "clusterMetadata": {
                "enableGlobalNamespace": False,
                "failoverVersionIncrement": 10,
                "masterClusterName": "active",
                "currentClusterName": "active",
                "clusterInformation": {
                    "active": {
                        "enabled": True,
                        "initialFailoverVersion": 1,
                        "rpcName": "frontend",
                        "rpcAddress": self.address,
                    }
                },
            },
            "dynamicConfigClient": {"filepath": str(self.folder / "config" / "dynamic.yaml"), "pollInterval": "60s"},
        }

    def _store(self, database: str) -> dict[str, Any]:
        return {
            "pluginName": PLUGIN,
            "databaseName": database,
            "connectAddr": f"127.0.0.1:{self.ports['postgres']}",
            "connectProtocol": "tcp",
            "user": "temporal",
            "password": "temporal",
            "maxConns": 20,
            "maxIdleConns": 20,
            "maxConnLifetime": "1h",
        }


_PARTS = ("frontend", "matching", "history", "worker")


def _account() -> pwd.struct_passwd | None:
    """Whom to run PostgreSQL as, which refuses to run as root; None: as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is no account postgres or nobody.")


def _free_ports(count: int) -> Iterator[int]:
    # Below those that the system hands out by itself, which would be taken while the server is killed.
    found: list[int] = []
    for port in range(20000 + 16 * os.getpid() % 11000, 32000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return iter(found)
    raise RuntimeError("no free ports on 127.0.0.1")
