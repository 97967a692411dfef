from __future__ import annotations

from docs.settings_table import PAGE, settings_page
from shared.settings import Group, Settings


def test_the_settings_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run: python -m docs.settings_table"


def test_exactly_the_settings_for_users_have_a_row_with_their_default():
    documented = {name for name in Settings.variables() if f"\n| `{name}` | " in settings_page()}

    assert len(documented) > 40
    assert set(Settings.variables()) - documented == {"FATHOM_SIMULATE", "FATHOM_SIMULATE_SECONDS"}


def test_no_group_of_settings_is_empty():
    assert {variable.group for variable in Settings.variables().values()} == set(Group)
