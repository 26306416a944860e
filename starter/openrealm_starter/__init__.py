"""First weights for openrealm, in the folder ``model``; `openrealm.models.starter` reads them."""
