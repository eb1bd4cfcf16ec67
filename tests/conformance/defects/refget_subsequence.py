"""Defects that the cases of `refget_subsequence` notice."""
