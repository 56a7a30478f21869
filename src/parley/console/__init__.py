"""Serves the try-it page: its HTML at `/`, its assets under `/try/`, and a token for those who have none.

The page itself is written in TypeScript under `console/` and built into `static/` beside this file.
"""

from .routes import STATIC, Mint, build

__all__ = ["STATIC", "Mint", "build"]
