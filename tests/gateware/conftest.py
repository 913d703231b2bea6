"""Tests that a constructor refuses its arguments leave elaboratables behind that nobody elaborates."""

from amaranth._unused import MustUse

MustUse._MustUse__silence = True
