"""What a client may make this server do, as its operator allows.

Knows recipes. Never knows how an env is made, or how a client has authenticated. Python 3.6 and up.

A server that a client has started itself obeys that client. A server of an operator makes the ids that the operator has
named, or any id that is registered in its interpreter. It imports nothing by a name that a client sent unless its
operator allows that, and never unpickles what a client sent.
"""

import re

from gym_service.server import env_factory, named_objects
from gym_service.server.adapters import attributes

# The names of packages that register a simulator's ids (gym_pusht, gym_xarm); a user who installs one wants to use it.
# Only top-level names, since only installed packages are there. Any other module may run anything when it is imported.
SIMULATOR = re.compile("gym_[A-Za-z0-9_]+")


# The keyword that tells a wrapper env which env to make: shimmy's, which old Gymnasium registers by itself, passes it
# to gym.make, which imports the part before a colon.
INNER_ID = "env_id"

# The command line of a simulator without arguments. What other arguments make a simulator import is unknown.
NO_ARGUMENTS = [""]


# The keywords by which methods receive the name of an attribute.
NAME_KEYWORDS = ("name", "attr_name", "method_name")


class NotPermitted(Exception):
    """The operator of this server has not allowed what a client asked for."""

    def __init__(self, what, ids=()):
        makes = ", ".join(ids) or (
            "what is registered in its interpreter, or by a package called gym_... that is installed there"
        )
        text = "%s: this server is not the client's own. It makes %s" % (what, makes)
        super().__init__(text + "\n  try: ask its operator; gym-service run takes ENV_IDs, and --allow-import")


class Permissions:
    """``names``: clients may name what is imported; ``pickles``: may also send it; ``ids``: if any, only these."""

    def __init__(self, names=True, pickles=True, ids=()):
        self._names = names
        self._pickles = pickles
        # Clients may use either form of an operator's "module:Env".
        self._ids = {part: env_id for env_id in ids for part in (env_id, env_id.rpartition(":")[2])}

    def check(self, recipe):
        """The recipe to follow. Raises NotPermitted if it asks for more than is allowed."""
        recipes = [recipe] + (env_factory.recipes_of(recipe) if recipe.get("batch", {}).get("each") else [])
        for own in recipes:
            self._check_values(own)
        if self._ids:
            recipe = self._checked_id(recipe)
        elif not self._names:
            if recipe["entry_point"]:
                raise NotPermitted("entry_point")
            if ":" in recipe["id"]:
                raise NotPermitted("id = %r" % recipe["id"])
        if not self._names:
            for own in recipes:
                self._check_names(own)
            for key, usual in (("argv", NO_ARGUMENTS), ("setup", [])):
                if recipe.get(key, usual) != usual:
                    raise NotPermitted("%s = %r" % (key, recipe[key]), sorted(set(self._ids.values())))
        return recipe

    def _check_values(self, recipe):
        """Raise NotPermitted for a wrapper, or for an object that an argument names at any depth."""
        given = [recipe["kwargs"]]
        for wrapper in recipe["wrappers"]:
            is_table = type(wrapper) is dict
            self.check_function(wrapper["wrapper"] if is_table else wrapper, "wrappers")
            given.append(wrapper["kwargs"] if is_table else {})
        names = [name for kwargs in given for name in named_objects.names_in_arguments(kwargs)]
        if names and not self._names:
            raise NotPermitted("{ object = %r }" % names[0], sorted(set(self._ids.values())))

    def check_attribute(self, path):
        """Raise NotPermitted if a client must not name this attribute."""
        if not self._names and attributes.needs_permission(path):
            raise NotPermitted("the attribute %r" % path, sorted(set(self._ids.values())))

    def check_call(self, path, args, kwargs):
        """Raise NotPermitted if a client must not call this, or must not pass it the name of an attribute."""
        self.check_attribute(path)
        named = [dict(kwargs).get(keyword) for keyword in NAME_KEYWORDS] if path in attributes.READERS else []
        method = path
        for name in args:
            if not isinstance(method, str) or method not in attributes.READERS:
                break
            named.append(name)
            method = name  # call("get_wrapper_attr", "gravity") contains two names
        for name in named:
            if isinstance(name, str):
                self.check_attribute(name)

    def _check_names(self, recipe):
        """Raise NotPermitted if a name that the client sent would be imported."""
        ids = sorted(set(self._ids.values()))
        for name in recipe["imports"]:
            if not SIMULATOR.fullmatch(name):
                raise NotPermitted("imports = [%r]" % name, ids)
        inner = recipe["kwargs"].get(INNER_ID, "")
        if ":" in str(inner):
            raise NotPermitted("%s = %r" % (INNER_ID, inner), ids)

    def check_function(self, reference, what):
        """Raise NotPermitted if a client must not have this called: a name, or (Python, cloudpickle)."""
        if not self._names:
            raise NotPermitted(what)
        if not self._pickles and not isinstance(reference, str):
            raise NotPermitted("%s that a client has pickled" % what)

    def _checked_id(self, recipe):
        """The recipe for an id that the operator has named: it needs no import that a client names."""
        ids = sorted(set(self._ids.values()))
        if recipe["entry_point"]:
            raise NotPermitted("entry_point", ids)
        if recipe["id"] not in self._ids:
            raise NotPermitted("id = %r" % recipe["id"], ids)
        return dict(recipe, id=self._ids[recipe["id"]])
