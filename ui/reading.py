"""How long facts stay fresh that modules have read."""

FRESH_S = 5
REFRESH_S = 10  # a page that stays open reads anew
READ_S = 0.7  # a page shows what it has read after this long, and goes on
