"""Networks as cards, the store that fetches them and the runtime that runs them."""
