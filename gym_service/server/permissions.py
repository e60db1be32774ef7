"""What a client may have a server do that is not its own: the operator's word.

Knows recipes. Never knows how an env is made, nor how a client has proven who it is. Python 3.6 and up.

A server that a client has started itself does what that client says. One that a client was let in to makes the ids that
its operator has named, or any that is registered in its interpreter, and imports nothing by a name that a client sent
unless its operator allows that. It never unpickles what a client sent.
"""

import re

from gym_service.server import env_factory, named_objects
from gym_service.server.adapters import attributes

# By this name simulators ship what registers their ids (gym_pusht, gym_xarm), and a user who installs one wants it
# made: the names of a family, at the top level, where installed packages alone lie. Anything else may run what it
# likes.
SIMULATOR = re.compile("gym_[A-Za-z0-9_]+")


# By this keyword an env that stands for another one is told which: shimmy's, which old Gymnasium registers of itself,
# passes it to gym.make, and that imports what stands before a colon.
INNER_ID = "env_id"

# The command line of a simulator that is given none. What another one leads a simulator to import is not known.
NO_ARGUMENTS = [""]


# By these keywords the methods that take the name of an attribute are told it.
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
    """``names``: whether clients may name what is imported; ``pickles``: also send it; ``ids``: if any, these alone."""

    def __init__(self, names=True, pickles=True, ids=()):
        self._names = names
        self._pickles = pickles
        # An operator's "module:Env" is known to clients as either.
        self._ids = {part: env_id for env_id in ids for part in (env_id, env_id.rpartition(":")[2])}

    def check(self, recipe):
        """The recipe to follow. Raises NotPermitted where it asks for more than it may."""
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
        """Raise NotPermitted for a wrapper, or for an object that an argument names, at any depth."""
        given = [recipe["kwargs"]]
        for wrapper in recipe["wrappers"]:
            is_table = type(wrapper) is dict
            self.check_function(wrapper["wrapper"] if is_table else wrapper, "wrappers")
            given.append(wrapper["kwargs"] if is_table else {})
        names = named_objects.names_in(given)
        if names and not self._names:
            raise NotPermitted("{ object = %r }" % names[0], sorted(set(self._ids.values())))

    def check_attribute(self, path):
        """Raise NotPermitted where a client must not name this attribute."""
        if not self._names and attributes.needs_permission(path):
            raise NotPermitted("the attribute %r" % path, sorted(set(self._ids.values())))

    def check_call(self, path, args, kwargs):
        """Raise NotPermitted where a client must not call this, or hand it the name of an attribute."""
        self.check_attribute(path)
        named = [dict(kwargs).get(keyword) for keyword in NAME_KEYWORDS] if path in attributes.READERS else []
        method = path
        for name in args:
            if not isinstance(method, str) or method not in attributes.READERS:
                break
            named.append(name)
            method = name  # call("get_wrapper_attr", "gravity") names two
        for name in named:
            if isinstance(name, str):
                self.check_attribute(name)

    def _check_names(self, recipe):
        """Raise NotPermitted where what a client names would be imported."""
        ids = sorted(set(self._ids.values()))
        for name in recipe["imports"]:
            if not SIMULATOR.fullmatch(name):
                raise NotPermitted("imports = [%r]" % name, ids)
        inner = recipe["kwargs"].get(INNER_ID, "")
        if ":" in str(inner):
            raise NotPermitted("%s = %r" % (INNER_ID, inner), ids)

    def check_function(self, reference, what):
        """Raise NotPermitted where a client must not have this one called: a name, or (Python, cloudpickle)."""
        if not self._names:
            raise NotPermitted(what)
        if not self._pickles and not isinstance(reference, str):
            raise NotPermitted("%s that a client has pickled" % what)

    def _checked_id(self, recipe):
        """Of an id that was named by the operator everything is known here: what a client would import is not."""
        ids = sorted(set(self._ids.values()))
        if recipe["entry_point"]:
            raise NotPermitted("entry_point", ids)
        if recipe["id"] not in self._ids:
            raise NotPermitted("id = %r" % recipe["id"], ids)
        return dict(recipe, id=self._ids[recipe["id"]])
