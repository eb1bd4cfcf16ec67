"""Defects that the cases of `seqcol_attribute` notice."""
