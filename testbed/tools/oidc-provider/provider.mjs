// An OpenID provider over HTTPS: the library oidc-provider with accounts and clients from a file.
//
// Usage: node provider.mjs FOLDER. In FOLDER are settings.json and directory.json, which is read again
// for every question, and what outlives a restart: keys.json and state.json, written on SIGTERM.

import { createHash, generateKeyPairSync, randomUUID, timingSafeEqual } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Provider } from 'oidc-provider';

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
const write = (name, value) => writeFileSync(join(folder, name), JSON.stringify(value), { mode: 0o600 });
const settings = read('settings.json');
const { pathname: base, hostname, port } = new URL(settings.issuer);

const accounts = () => read('directory.json').accounts.filter((account) => !account.disabled);
const clients = () => read('directory.json').clients;

// What the provider remembers: the interface of an adapter, over one map.
const memory = new Map(existsSync(join(folder, 'state.json')) ? read('state.json') : []);

class Adapter {
  constructor(kind) {
    this.kind = kind;
  }

  key(id) {
    return `${this.kind}:${id}`;
  }

  async upsert(id, payload) {
    memory.set(this.key(id), payload);
  }

  async find(id) {
    if (this.kind === 'Client') return clients().find((client) => client.client_id === id);
    return memory.get(this.key(id));
  }

  async findByUid(uid) {
    return [...memory].find(([key, { uid: own }]) => key.startsWith(this.key('')) && own === uid)?.[1];
  }

  async findByUserCode(code) {
    return [...memory].find(([key, { userCode }]) => key.startsWith(this.key('')) && userCode === code)?.[1];
  }

  async consume(id) {
    memory.get(this.key(id)).consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    memory.delete(this.key(id));
  }

  async revokeByGrantId(grant) {
    for (const [key, { grantId }] of memory) if (grantId === grant) memory.delete(key);
  }
}

function signingKeys() {
  if (!existsSync(join(folder, 'keys.json'))) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const key = { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), use: 'sig', alg: 'RS256' };
    write('keys.json', { keys: [key] });
  }
  return read('keys.json');
}

const provider = new Provider(settings.issuer, {
  adapter: Adapter,
  jwks: signingKeys(),
  cookies: { keys: [settings.cookieKey] },
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username'],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  conformIdTokenClaims: false,
  async findAccount(_context, subject) {
    const account = accounts().find((one) => one.subject === subject);
    if (!account) return undefined;
    const { full_name: name, name: preferred_username, email, email_verified, groups } = account;
    return {
      accountId: subject,
      claims: async () => ({ sub: subject, name, preferred_username, email, email_verified, groups }),
    };
  },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
  ttl: {
    AccessToken: settings.tokenSeconds,
    IdToken: settings.tokenSeconds,
    Grant: 86_400,
    Interaction: 600,
    RefreshToken: 86_400,
    Session: 86_400,
  },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  interactions: { url: (_context, interaction) => `${base}/interaction/${interaction.uid}` },
});

const page = (response, status, content) => {
  response.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  response.end(`<!DOCTYPE html><title>Sign in</title>${content}`);
};

const signInPage = (response, status, note) => page(response, status, `<p>${note}</p><form method="post">
<input name="login"><input name="password" type="password"><button>Sign in</button></form>`);

const consentPage = (response) => page(response, 200, `<p>This application asks for access.</p><form method="post">
<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>`);

const digest = (value) => createHash('sha256').update(value).digest();

// Sign-in and consent: a GET shows the page, a POST answers it.
async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  const isSignIn = prompt.name === 'login';
  if (request.method !== 'POST') {
    return isSignIn ? signInPage(response, 200, 'Please sign in.') : consentPage(response);
  }
  const form = new URLSearchParams(await text(request));
  const finish = (result) =>
    provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
  if (isSignIn) {
    const account = accounts().find((one) => one.name === form.get('login'));
    const isRight = timingSafeEqual(digest(account?.password ?? ''), digest(form.get('password') ?? ''));
    if (!account || !isRight) return signInPage(response, 401, 'Wrong name or password.');
    return finish({ login: { accountId: account.subject } });
  }
  if (form.get('decision') !== 'allow') {
    return finish({ error: 'access_denied', error_description: 'the user has said no' });
  }
  const owner = { accountId: session.accountId, clientId: params.client_id };
  const grant = (grantId && (await provider.Grant.find(grantId))) || new provider.Grant(owner);
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return finish({ consent: { grantId: await grant.save() } });
}

const answer = provider.callback();
const tls = { cert: readFileSync(settings.certificate), key: readFileSync(settings.key) };
const server = createServer(tls, (request, response) => {
  if (!request.url.startsWith(`${base}/`)) {
    response.writeHead(404).end();
  } else if (request.url.startsWith(`${base}/interaction/`)) {
    interact(request, response).catch((error) => page(response, 400, `<p>${error.name}</p>`));
  } else {
    request.originalUrl = request.url;
    request.url = request.url.slice(base.length);
    answer(request, response);
  }
});
server.listen(Number(port), hostname);

process.on('SIGTERM', () => {
  write('state.json', [...memory]);
  process.exit(0);
});
