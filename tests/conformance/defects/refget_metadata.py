"""Defects that the cases of `refget_metadata` notice."""
