"""`tg.compile`: what one call of a function applies is recorded once, and replayed as a program."""
