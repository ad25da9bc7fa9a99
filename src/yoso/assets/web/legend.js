// The list of classes: how many segments, what share of the image, and which ones are shown alone.

const percent = (share) => (share >= 0.0995 ? `${(100 * share).toFixed(0)}%` : `${(100 * share).toFixed(1)}%`);

export const shareOf = (segment, result) => percent(segment.area / (result.width * result.height));

export function groups({ segments, width, height }) {
  const found = new Map();
  for (const segment of segments) {
    const group = found.get(segment.label_id) ?? { labelId: segment.label_id, label: segment.label, segments: [], area: 0 };
    group.segments.push(segment);
    group.area += segment.area;
    found.set(segment.label_id, group);
  }
  return [...found.values()]
    .map((group) => ({ ...group, share: group.area / (width * height) }))
    .sort((a, b) => b.area - a.area);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Fill the list. `act` has `show(ids)`, which shows segments alone, and `light(id)`, which points at one.
export function fillLegend(list, result, categories, only, act) {
  const focused = document.activeElement?.dataset?.key;
  list.replaceChildren(...groups(result).map((group) => row(group, categories[group.labelId].color, only, act)));
  if (focused) list.querySelector(`[data-key="${focused}"]`)?.focus();
}

function row(group, [red, green, blue], only, act) {
  const ids = group.segments.map(({ id }) => id);
  const shown = only !== null && ids.some((id) => only.has(id));
  const whole = shown && ids.every((id) => only.has(id));
  const colour = `rgb(${red} ${green} ${blue})`;
  const swatch = element("span", { className: "swatch" });
  const meter = element("span", { className: "meter" }, element("i"));
  swatch.style.background = meter.firstChild.style.background = colour;
  meter.firstChild.style.width = `${Math.max(1, 100 * group.share)}%`;
  const count = ids.length === 1 ? "1 segment" : `${ids.length} segments`;
  const button = element(
    "button",
    { type: "button", className: "class", title: group.label, onclick: () => act.show(whole ? null : ids) },
    swatch,
    element("span", { className: "name", textContent: group.label }),
    element("span", { className: "number", textContent: ids.length > 1 ? `× ${ids.length}` : "" }),
    element("span", { className: "share", textContent: percent(group.share) }),
    meter,
  );
  button.dataset.key = `class-${group.labelId}`;
  button.dataset.label = group.labelId;
  button.setAttribute("aria-pressed", String(whole));
  button.setAttribute("aria-label", `${group.label}, ${count}, ${percent(group.share)} of the image`);
  const item = element("li", {}, button);
  if (shown && ids.length > 1) item.append(chips(group.segments, only, act));
  return item;
}

function chips(segments, only, act) {
  const buttons = segments.map((segment, place) => {
    const alone = only.size === 1 && only.has(segment.id);
    const chip = element("button", {
      type: "button",
      className: "chip",
      textContent: `${place + 1} · ${Math.round(100 * segment.score)}%`,
      onclick: () => act.show(alone ? null : [segment.id]),
      onmouseenter: () => act.light(segment.id),
      onfocus: () => act.light(segment.id),
      onmouseleave: () => act.light(0),
      onblur: () => act.light(0),
    });
    chip.dataset.key = `segment-${segment.id}`;
    chip.setAttribute("aria-pressed", String(alone));
    chip.setAttribute("aria-label", `${segment.label} ${place + 1}, score ${Math.round(100 * segment.score)}%`);
    return chip;
  });
  return element("div", { className: "chips" }, ...buttons);
}
