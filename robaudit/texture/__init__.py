"""Second-order texture of images: functional, differentiable, no modules."""
