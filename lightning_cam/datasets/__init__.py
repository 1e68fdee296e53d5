"""What users' data looks like: pictures, labels, items, masks and normalisation, shared by probe and audit."""
