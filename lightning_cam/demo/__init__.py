"""The seed story, with real files: two families of creatures, saved in two ways, and a model that notices."""
