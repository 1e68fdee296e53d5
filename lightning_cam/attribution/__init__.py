"""WHERE a model looks: the layer, the capture, the maps and what is measured on them."""
