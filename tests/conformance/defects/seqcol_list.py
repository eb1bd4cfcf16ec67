"""Defects that the cases of `seqcol_list` notice."""
