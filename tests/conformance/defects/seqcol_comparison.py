"""Defects that the cases of `seqcol_comparison` notice."""
