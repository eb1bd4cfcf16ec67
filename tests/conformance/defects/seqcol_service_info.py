"""Defects that the cases of `seqcol_service_info` notice."""
