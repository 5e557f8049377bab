// Chooses classes: each panel's own, or one place for all panels. Knows nothing of what follows.

/** Offer in all panels at once the classes that every domain has; audio alone has four. */
function buildClasses() {
  const most = Math.min(...page.domains.map((d) => d.classes.length));
  const names = Array.from({ length: most }, (_, label) =>
    [...new Set(page.domains.map((d) => d.classes[label]))].join(" / "),
  );
  const own = '<option value="" hidden>as chosen in each panel</option>';
  byId("label").innerHTML = options(names) + own;
  byId("label-choice").hidden = page.domains.length < 2;
}

/** Show in the common choice what the panels agree on, if they do. */
function updateClasses() {
  const labels = new Set(Object.values(state.labels));
  byId("label").value = labels.size === 1 ? [...labels][0] : "";
}

/** Take a choice of class, made in the panel of a domain or for all of them. */
function chooseClass(label, name) {
  for (const domain of name ? [domainOf(name)] : page.domains) state.labels[domain.name] = label;
}
