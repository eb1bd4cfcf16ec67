"""What servers of sequences say of themselves (refget Sequences 2.0.0: Service info)."""
