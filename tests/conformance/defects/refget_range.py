"""Defects that the cases of `refget_range` notice."""
