"""Defects that the cases of `refget_sequence` notice."""
