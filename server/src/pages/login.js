// The login page: an account of this server or a directory, or a provider elsewhere.

import { ask, find, tell, whoAmI } from '/login/session.js';

const PROBLEMS = {
  expired: 'This login began in another browser, or too long ago. Log in again.',
  refused: 'The login provider did not confirm this login. Log in again.',
  'not-allowed': 'This account may not log in here.',
  'not-enabled': 'Nobody logs in by this provider here.',
  'too-many': 'There were too many logins from your address. Wait a little, and try again.',
  unavailable: 'The login provider does not answer. Try again later, or log in with an account of this server.',
  misconfigured: 'The settings of the login provider do not work. An administrator has to mend them.',
};

const NAMES = {
  local: 'this server',
  openldap: 'OpenLDAP',
  activedirectory: 'Active Directory',
  github: 'GitHub',
  oidc: 'single sign-on',
  keycloakoidc: 'Keycloak',
};

const query = new URLSearchParams(location.search);

// Where to go on: a path of this server.
function next() {
  const wanted = query.get('next') ?? '';
  try {
    const url = new URL(wanted, location.origin);
    if (wanted.startsWith('/') && url.origin === location.origin) {
      return url.pathname + url.search + url.hash;
    }
  } catch {
    // It is no address.
  }
  return '/login';
}

async function logIn(event) {
  event.preventDefault();
  tell('');
  const provider = find('provider').selectedOptions[0];
  const input = {
    username: find('username').value,
    password: find('secret').value,
    responseType: 'cookie',
    description: 'browser',
  };
  const { ok, json } = await ask('POST', provider.dataset.login, input);
  find('secret').value = '';
  if (ok) location.assign(next());
  else tell(json.message ?? 'The server does not answer.');
}

async function changePassword(event) {
  event.preventDefault();
  tell('');
  const input = { currentPassword: find('current').value, newPassword: find('fresh').value };
  const { ok, json } = await ask('POST', '/v3/users?action=changepassword', input);
  if (ok) location.assign(next());
  else tell(json.message ?? 'The server does not answer.');
}

async function logOut() {
  const { ok, json } = await ask('POST', '/v3/tokens?action=logoutAll', {});
  if (!ok) return tell(json.message ?? 'The server does not answer.');
  location.assign(json.idpRedirectUrl || '/login');
}

async function showProviders() {
  const { ok, json } = await ask('GET', '/v3-public/authProviders');
  if (!ok) return tell(json.message ?? 'The server does not answer.');
  for (const provider of json.data) {
    const name = NAMES[provider.id] ?? provider.id;
    if (provider.redirectUrl) {
      const link = document.createElement('a');
      const url = new URL(provider.redirectUrl, location.origin);
      url.searchParams.set('next', next());
      link.href = url.pathname + url.search;
      link.id = `with-${provider.id}`;
      link.className = 'button';
      link.textContent = `Log in with ${name}`;
      find('redirects').append(link);
    } else {
      const option = document.createElement('option');
      const login = new URL(provider.actions.login, location.origin);
      option.value = provider.id;
      option.dataset.login = login.pathname + login.search;
      option.textContent = name;
      find('provider').append(option);
    }
  }
  find('where').hidden = find('provider').options.length < 2;
  find('password').addEventListener('submit', logIn);
  find('out').hidden = false;
}

tell(PROBLEMS[query.get('problem')] ?? '');
const { name, mustChange } = await whoAmI();
if (mustChange) {
  find('change').addEventListener('submit', changePassword);
  find('change').hidden = false;
} else if (name === undefined) {
  await showProviders();
} else {
  find('name').textContent = name;
  find('logout').addEventListener('click', logOut);
  find('in').hidden = false;
}
