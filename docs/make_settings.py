"""Write the page of all settings, `docs/settings.md`, out of the settings themselves.

python docs/make_settings.py
"""

from __future__ import annotations

from pathlib import Path

from eseg_zoo.look.settings_page import as_page

PAGE = Path(__file__).with_name("settings.md")

if __name__ == "__main__":
    PAGE.write_text(as_page(), encoding="utf-8")
