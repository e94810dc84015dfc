"""Where training signals come from: folders, manifests, mixing, loaders, a generated trial set."""
