"""`quorate keys`: encrypted keystore files."""

from __future__ import annotations

import typer

from contracts import keystore
from coordinator.cli.command import command
from coordinator.cli.context import Setup
from coordinator.cli.failures import ExitCode, Refusal

app = typer.Typer(help="Keys, kept as encrypted keystore files.", no_args_is_help=True)


@command(app, "new")
def new(setup: Setup) -> None:
    """Make a fresh key and keep it encrypted under a passphrase."""
    passphrase = setup.passphrase("Passphrase for the new key", twice=True)
    with setup.out.progress("encrypting the key"):
        key = keystore.new(setup.key_folder, passphrase)
    _show(setup, key)


@command(app, "import")
def import_(setup: Setup) -> None:
    """Keep the plain key of the environment variable QUORATE_PRIVATE_KEY encrypted under a passphrase."""
    account = keystore.from_environment()
    if account is None:
        raise Refusal(
            ExitCode.KEY,
            f"there is nothing to import: put the key into the environment variable {keystore.ENVIRONMENT_KEY} "
            "(read it with `read -rs`, so that no history keeps it)",
        )
    passphrase = setup.passphrase(f"Passphrase for {account.address}", twice=True)
    with setup.out.progress("encrypting the key"):
        key = keystore.import_key(setup.key_folder, bytes(account.key), passphrase)
    _show(setup, key)


@command(app, "list")
def list_(setup: Setup) -> None:
    """The keys that are kept here. None is opened."""
    have = keystore.list_keys(setup.key_folder)
    rows = [{"address": key.address, "file": key.path} for key in have]
    setup.out.rows(rows, empty=f"{setup.key_folder} holds no key yet: make one with `quorate keys new`")


def _show(setup: Setup, key: keystore.StoredKey) -> None:
    setup.out.record({"address": key.address, "file": key.path})
    setup.out.note("Keep a copy of this file and its passphrase: whoever loses either loses the key's stake.")
