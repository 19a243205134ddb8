"""A photo's way into the model and the map's way back as parts of the graph, in standard operators."""
