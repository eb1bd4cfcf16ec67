"""Defects that the cases of `seqcol_collection` notice."""
