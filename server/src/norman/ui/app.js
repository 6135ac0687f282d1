// Shows the JSON of the address, with links, filters and forms. It is asked for as the one who looks at it, whose
// session is in cookies.
"use strict";

const schemas = new Map();
const $ = (id) => document.getElementById(id);

function cookie(name) {
  const found = document.cookie.split("; ").find((one) => one.startsWith(name + "="));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
}

async function ask(method, url, body) {
  const headers = { Accept: "application/json" };
  if (cookie("CSRF")) headers["X-API-CSRF"] = cookie("CSRF");
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(url, {
    method, headers, credentials: "same-origin", redirect: "error",
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let value = {};
  try {
    value = text ? JSON.parse(text) : {};
  } catch {
    throw new Error("the server answered " + answer.status + " with something that is not JSON");
  }
  if (answer.status === 401 && method === "GET") {
    login(value.message);
    return undefined;
  }
  if (!answer.ok) {
    throw new Error([value.status || answer.status, value.code, value.fieldName, value.message]
      .filter(Boolean).join(": "));
  }
  schemas.at = answer.headers.get("X-API-Schemas") || schemas.at;
  return value;
}

// What is done fails in words.
function attempt(work) {
  return async (...given) => {
    try {
      await work(...given);
    } catch (error) {
      tell(error.message, true);
    }
  };
}

// The path of an address of this API on this server, or nothing: no other address is followed.
function ours(text) {
  if (typeof text !== "string" || !/^https?:\/\//.test(text)) return undefined;
  let url;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  const here = url.host === location.host && /^\/v3(-public)?(\/|$)/.test(url.pathname);
  return here ? url.pathname + url.search : undefined;
}

function link(path, text) {
  const click = (event) => {
    event.preventDefault();
    go(path);
  };
  return element("a", { href: path, click }, text);
}

function go(path) {
  history.pushState(null, "", path);
  load();
}

// A value as it is written in JSON, with what leads somewhere as links.
function written(value, indent) {
  const parts = document.createDocumentFragment();
  const inner = indent + "  ";
  if (Array.isArray(value) || (value !== null && typeof value === "object")) {
    const list = Array.isArray(value);
    const entries = list ? value.map((one) => [undefined, one]) : Object.entries(value);
    parts.append(list ? "[" : "{");
    entries.forEach(([key, one], at) => {
      parts.append("\n" + inner);
      if (key !== undefined) parts.append(element("span", { class: "key" }, JSON.stringify(key)), ": ");
      parts.append(written(one, inner));
      if (at + 1 < entries.length) parts.append(",");
    });
    parts.append(entries.length ? "\n" + indent : "", list ? "]" : "}");
    return parts;
  }
  const path = ours(value);
  const text = JSON.stringify(value);
  if (path !== undefined && !path.includes("action=")) parts.append(link(path, text));
  else parts.append(element("span", { class: typeof value === "string" ? "text" : "other" }, text));
  return parts;
}

async function schemaOf(type) {
  const at = ours(schemas.at);
  if (!type || !at) return undefined;
  const path = at + "/" + encodeURIComponent(type);
  if (!schemas.has(path)) {
    schemas.set(path, await ask("GET", path).catch(() => undefined));
  }
  return schemas.get(path);
}

const load = attempt(async () => {
  tell("");
  for (const id of ["tools", "form", "shown"]) $(id).replaceChildren();
  path();
  const value = await ask("GET", location.pathname + location.search);
  if (value === undefined) return;
  $("shown").replaceChildren(written(value, ""));
  $("who").replaceChildren(element("button", { click: attempt(logout) }, "Log out"));
  if (value.type === "collection") await collectionTools(value);
  else if (value.links) await resourceTools(value);
});

function path() {
  const parts = location.pathname.split("/").filter(Boolean);
  const links = parts.map((part, at) => link("/" + parts.slice(0, at + 1).join("/"), "/" + decodeURIComponent(part)));
  $("path").replaceChildren(...links);
}

async function collectionTools(collection) {
  const schema = await schemaOf(collection.resourceType);
  const tools = $("tools");
  const pages = collection.pagination || {};
  for (const name of ["first", "next"]) {
    const at = ours(pages[name]);
    if (at) tools.append(element("button", { click: () => go(at) }, name === "next" ? "Next page" : "First page"));
  }
  const create = ours((collection.createTypes || {})[collection.resourceType]);
  if (create && schema) {
    tools.append(element("button", { click: () => edit("Create " + schema.id, schema, "create", {}, "POST", create) }, "Create"));
  }
  actions(collection, schema && schema.collectionActions);
  if (schema && schema.collectionFilters && Object.keys(schema.collectionFilters).length) {
    tools.append(filters(schema, collection));
  }
}

// A row that narrows and orders the list.
function filters(schema, collection) {
  const names = Object.keys(schema.collectionFilters);
  const options = (all) => all.map((one) => element("option", { value: one }, one));
  const field = element("select", { name: "field", "aria-label": "Field" }, ...options(names));
  const modifier = element("select", { name: "modifier", "aria-label": "Modifier" });
  const value = element("input", { name: "value", "aria-label": "Value" });
  const sort = element("select", { name: "sort", "aria-label": "Order by" },
    element("option", { value: "" }, "order by id"), ...options(names));
  sort.value = (collection.sort || {}).name || "";
  const modifiers = () => modifier.replaceChildren(...options(schema.collectionFilters[field.value].modifiers));
  field.value = names.includes("name") ? "name" : names[0];
  field.addEventListener("change", modifiers);
  modifiers();
  const query = () => {
    const query = new URLSearchParams(location.search);
    query.delete("marker");
    return query;
  };
  const add = () => {
    const asked = query();
    asked.append(modifier.value === "eq" ? field.value : field.value + "_" + modifier.value, value.value);
    go(location.pathname + "?" + asked);
  };
  sort.addEventListener("change", () => {
    const asked = query();
    if (sort.value) asked.set("sort", sort.value);
    else asked.delete("sort");
    go(location.pathname + "?" + asked);
  });
  const clear = () => go(location.pathname);
  return element("span", { id: "filters" }, field, modifier, value,
    element("button", { click: add }, "Filter"), element("button", { click: clear }, "All"), sort);
}

async function resourceTools(resource) {
  const schema = await schemaOf(resource.type) || await schemaOf(resource.baseType);
  const tools = $("tools");
  const update = ours(resource.links.update);
  const remove = ours(resource.links.remove);
  if (update && schema) {
    tools.append(element("button", { click: () => edit("Edit " + resource.id, schema, "update", resource, "PUT", update) }, "Edit"));
  }
  if (remove) {
    tools.append(element("button", { click: () => confirmed(resource.id, remove) }, "Delete"));
  }
  actions(resource, schema && schema.resourceActions);
}

function actions(of, described) {
  for (const [name, url] of Object.entries(of.actions || {})) {
    const at = ours(url);
    if (!at) continue;
    const start = attempt(async () => {
      const input = ((described || {})[name] || {}).input;
      const schema = input ? await schemaOf(input) : undefined;
      edit(name, schema || { resourceFields: {} }, "create", {}, "POST", at);
    });
    $("tools").append(element("button", { click: start }, name));
  }
}

function edit(title, schema, kind, values, method, at) {
  const fields = Object.fromEntries(Object.entries(schema.resourceFields || {})
    .filter(([, field]) => field[kind]));
  const close = () => $("form").replaceChildren();
  const send = attempt(async (sent) => {
    const answer = await ask(method, at, sent);
    close();
    const itself = answer && answer.links && ours(answer.links.self);
    $("shown").replaceChildren(written(answer, ""));
    $("tools").replaceChildren();
    if (itself && method === "POST" && !at.includes("action=")) {
      history.pushState(null, "", itself);
      path();
    }
    if (answer && answer.links) await resourceTools(answer);
    tell(title + ": done");
  });
  $("form").replaceChildren(formOf(title, fields, values, send, close));
}

function confirmed(id, at) {
  const close = () => $("form").replaceChildren();
  const send = attempt(async () => {
    await ask("DELETE", at);
    go(at.slice(0, at.lastIndexOf("/")));
  });
  $("form").replaceChildren(formOf("Delete " + id + "?", {}, {}, send, close));
}

function login(why) {
  const fields = {
    username: { type: "string", required: true },
    password: { type: "password", required: true },
  };
  const send = attempt(async (sent) => {
    const at = "/v3-public/localProviders/local?action=login";
    await ask("POST", at, { ...sent, description: "API page", responseType: "cookie" });
    $("form").replaceChildren();
    await load();
  });
  $("form").replaceChildren(formOf("Log in", fields, {}, send, () => $("form").replaceChildren()));
  const here = encodeURIComponent(location.pathname + location.search);
  $("who").replaceChildren(element("a", { href: "/login?next=" + here }, "Log in another way"));
  tell(why || "Log in first");
}

async function logout() {
  await ask("POST", "/v3/tokens?action=logout", {});
  await load();
}

addEventListener("popstate", () => load());
load();
