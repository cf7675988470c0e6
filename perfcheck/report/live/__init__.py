"""What a watch of `perfctl` saw, as a page: gathered interval by interval in bounded memory, told at the end."""
