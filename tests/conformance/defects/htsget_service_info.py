"""Defects that the cases of `htsget_service_info` notice."""
