"""Between head models: which points correspond (`register`), and one model's parameters from another's (`HeadTransfer`)."""
