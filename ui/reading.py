"""How long facts stay fresh that modules have read."""

FRESH_S = 5
REFRESH_S = 10  # a page that stays open reads anew
READ_S = 0.9  # a page shows what it can read within this long, and goes on
