"""What servers of collections say of themselves (seqcol 1.0.0: Service info)."""
