"""Defects that the cases of `refget_service_info` notice."""
