// Forms from schemas. Everything that is shown becomes text: no HTML is made of data.
"use strict";

// An element with attributes and children; a child that is no element is text.
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key === "click" || key === "submit") made.addEventListener(key, value);
    else if (typeof value === "boolean") made[key] = value;
    else made.setAttribute(key, value);
  }
  for (const child of children) made.append(child instanceof Node ? child : String(child));
  return made;
}

// The control for a field, and how to read it. `undefined` is read where nothing was entered.
function control(field, value) {
  const type = field.type || "string";
  if (type === "boolean") {
    const box = element("input", { type: "checkbox", checked: value === true });
    return [box, () => box.checked];
  }
  if (type === "enum") {
    const options = [""].concat(field.options || []).filter((one, at, all) => all.indexOf(one) === at);
    const select = element("select", {}, ...options.map((one) => element("option", { value: one }, one)));
    select.value = value === undefined || value === null ? "" : value;
    return [select, () => (select.value === "" && value === undefined ? undefined : select.value)];
  }
  if (type === "int" || type === "float") {
    const input = element("input", { type: "number", step: type === "int" ? "1" : "any" });
    if (value !== undefined && value !== null) input.value = value;
    return [input, () => (input.value === "" ? undefined : Number(input.value))];
  }
  const plain = ["string", "password", "date", "hostname", "dnsLabel"];
  if (plain.includes(type) || type.startsWith("reference[")) {
    const input = element("input", { type: type === "password" ? "password" : "text", autocomplete: "off" });
    if (value !== undefined && value !== null) input.value = value;
    return [input, () => (input.value === "" && value === undefined ? undefined : input.value)];
  }
  const area = element("textarea", { rows: "4", spellcheck: "false" });
  if (value !== undefined && value !== null) area.value = JSON.stringify(value, null, 2);
  return [area, () => (area.value.trim() === "" ? undefined : JSON.parse(area.value))];
}

// A form for fields of a schema. `send` gets what was entered or changed.
function formOf(title, fields, values, send, cancel) {
  const readers = [];
  const rows = [];
  for (const [name, field] of Object.entries(fields)) {
    const [input, read] = control(field, values[name]);
    input.name = name;
    readers.push([name, field, read]);
    const mark = field.required ? " *" : "";
    rows.push(element("label", {}, name + mark + " (" + field.type + ")",
      element("small", {}, field.description || ""), input));
  }
  const submit = (event) => {
    event.preventDefault();
    const sent = {};
    for (const [name, field, read] of readers) {
      let value;
      try {
        value = read();
      } catch (error) {
        return tell(name + " is not JSON: " + error.message, true);
      }
      const before = values[name];
      const untouched = field.type === "boolean" && value === false && before === undefined;
      if (value === undefined && before !== undefined && before !== null) value = null;
      const same = JSON.stringify(value) === JSON.stringify(before);
      if (value !== undefined && !untouched && !same) sent[name] = value;
    }
    return send(sent);
  };
  return element("form", { submit }, element("h2", {}, title), ...rows,
    element("button", { type: "submit" }, "Send"), " ",
    element("button", { type: "button", click: cancel }, "Cancel"));
}

// Tells something about what was done last.
function tell(text, isError) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.className = isError ? "error" : "";
}
