"""Sealed secrets."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfleet.identity import CannotOpen, Vault


def test_the_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """The file has mode 0600, its folder 0700, and there is nothing else in it."""
    Vault.open(tmp_path)
    file = tmp_path / "keys" / "secrets.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in file.parent.iterdir()] == ["secrets.key"]


def test_a_later_start_opens_what_an_earlier_one_sealed(tmp_path: Path) -> None:
    """The key file is created once."""
    sealed = Vault.open(tmp_path).seal("secret")
    assert Vault.open(tmp_path).unseal(sealed) == "secret"


def test_processes_that_start_together_create_one_key(tmp_path: Path) -> None:
    """Each opens what any of them sealed."""
    with ThreadPoolExecutor(16) as pool:
        vaults = list(pool.map(lambda _: Vault.open(tmp_path), range(16)))
    assert {vault.unseal(vaults[0].seal("secret")) for vault in vaults} == {"secret"}
    assert [entry.name for entry in (tmp_path / "keys").iterdir()] == ["secrets.key"]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    return Vault.open(tmp_path_factory.mktemp("vault"))


@given(st.text(max_size=100))
def test_a_sealed_text_is_opened_again(vault: Vault, text: str) -> None:
    """Any text, and its sealed form reveals nothing of it."""
    sealed = vault.seal(text)
    assert vault.unseal(sealed) == text
    assert sealed.isascii()
    assert vault.seal(text) != sealed  # the same secret twice is not seen to be the same


@given(st.integers(0, 99), st.sampled_from("AB"))
def test_a_changed_secret_does_not_open(vault: Vault, place: int, character: str) -> None:
    """One changed character is detected."""
    sealed = vault.seal("secret")
    changed = sealed[:place] + character + sealed[place + 1 :]
    if changed != sealed:
        with pytest.raises(CannotOpen):
            vault.unseal(changed)


def test_another_key_does_not_open(tmp_path: Path) -> None:
    """A database without its key file is of no use."""
    sealed = Vault.open(tmp_path / "one").seal("secret")
    with pytest.raises(CannotOpen):
        Vault.open(tmp_path / "other").unseal(sealed)


def test_a_damaged_key_file_is_named_and_kept(tmp_path: Path) -> None:
    """It is not replaced, because a new key would open nothing."""
    Vault.open(tmp_path)
    file = tmp_path / "keys" / "secrets.key"
    file.write_bytes(b"half a k")
    with pytest.raises(CannotOpen, match=r"secrets\.key"):
        Vault.open(tmp_path)
    assert file.read_bytes() == b"half a k"


def test_a_vault_does_not_print_its_key(tmp_path: Path) -> None:
    """Neither repr nor str shows it."""
    vault = Vault.open(tmp_path)
    key = (tmp_path / "keys" / "secrets.key").read_text()
    assert repr(vault) == str(vault) == "Vault()"
    assert key not in repr(vault)
