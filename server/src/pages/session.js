// What the pages share: requests to the server in the name of who is logged in.

const cookie = (name) => {
  const pairs = document.cookie.split('; ').map((pair) => pair.split('='));
  return (pairs.find(([key]) => key === name) ?? ['', ''])[1];
};

// Sends a request. Returns the status, and the JSON of the answer.
export async function ask(method, path, body) {
  const headers = { Accept: 'application/json', 'X-API-CSRF': cookie('CSRF') };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const options = { method, headers, credentials: 'same-origin', redirect: 'error' };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await fetch(path, options);
  const text = await answer.text();
  let json = {};
  try {
    json = text === '' ? {} : JSON.parse(text);
  } catch {
    json = { message: text };
  }
  return { ok: answer.ok, status: answer.status, json };
}

// Who is logged in: their name, or that they must change their password before anything else. Neither, if nobody is.
export async function whoAmI() {
  if (cookie('CSRF') === '') return {};
  const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
  const { ok, status, json } = await ask('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', review);
  if (status === 403) return { mustChange: true };
  if (!ok) return {};
  const { username, extra } = json.status.userInfo;
  return { name: extra?.['management.cattle.io/username']?.[0] || username };
}

export const find = (id) => document.getElementById(id);

export function tell(message) {
  const problem = find('problem');
  problem.textContent = message;
  problem.hidden = message === '';
}
