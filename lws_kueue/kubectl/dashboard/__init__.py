"""`kubectl lws dashboard`: a page on loopback that shows what the commands tell, again and again.

- `picture`: what is shown, read with the rights of whoever has started it;
- `serving`: who may ask for it, and the files of the page;
- `command`: the command.

The page is `page.html`, `page.js` and `page.css`, as they are. It asks nobody but the program that
serves it.
"""
