"""The tab *Attention* of TensorBoard: the page of a run, while it trains. It imports nothing that takes time."""
