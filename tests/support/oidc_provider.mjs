// An identity provider for tests: npm's oidc-provider with one client and as many people as anybody names, and beside it a way to sign
// whatever a test wants with the provider's own key, or with another.
//
// Arguments: where oidc-provider is, the port, the id of the key. The client's redirect URIs come in REDIRECT_URIS.

import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";

const [modules, port, kid] = process.argv.slice(2);
const { default: Provider } = await import(`${modules}/node_modules/oidc-provider/lib/index.js`);
const { SignJWT, UnsecuredJWT, importJWK } = await import(`${modules}/node_modules/jose/dist/webapi/index.js`);

const makeKey = (kid) => ({
  ...generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256",
});
const [own, other] = [makeKey(kid), makeKey(kid)];
const issuer = `http://127.0.0.1:${port}`;

// The groups of a person follow the name: ann-operators is in `operators`.
const groups = (name) => name.split("-").slice(1);

const provider = new Provider(issuer, {
  jwks: { keys: [own] },
  clients: [{
    client_id: "gateway", client_secret: "hunter2&+:%", grant_types: ["authorization_code", "client_credentials"],
    response_types: ["code"], redirect_uris: JSON.parse(process.env.REDIRECT_URIS),
  }],
  clientDefaults: { id_token_signed_response_alg: "RS256" },
  cookies: { keys: ["a key of this test"] },
  claims: { openid: ["sub"], groups: ["groups"] },
  scopes: ["openid", "groups"],
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:gateway",
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "openid groups", audience: resource === "urn:gateway" ? "gateway" : resource, accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  extraTokenClaims: (_, token) => token.kind === "ClientCredentials" ? { groups: ["auditors"] } : undefined,
  findAccount: (_, name) => ({ accountId: name, claims: () => ({ sub: name, groups: groups(name) }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // Nobody is asked whether the gateway may know the groups.
  async loadExistingGrant(context) {
    const grant = new context.oidc.provider.Grant({
      clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId,
    });
    grant.addOIDCScope("openid groups");
    grant.addResourceScope("urn:gateway", "openid groups");
    await grant.save();
    return grant;
  },
});

const read = async (request) => {
  let text = "";
  for await (const piece of request) text += piece;
  return text;
};

async function interact(request, response) {
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>Provider</title><form method=post><input name=name><button>Go</button></form>");
    return;
  }
  const name = new URLSearchParams(await read(request)).get("name");
  const result = name === "" ? { error: "access_denied", error_description: "You may not." } : { login: { accountId: name } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

// `{ header, claims, key }`: signed by `own` or `other`, by nobody (`none`), or with the client's secret (`hmac`).
async function sign(request, response) {
  const { header, claims, key } = JSON.parse(await read(request));
  let token;
  if (key === "none") token = new UnsecuredJWT(claims).encode();
  else if (key === "hmac") {
    token = await new SignJWT(claims).setProtectedHeader({ alg: "HS256", kid }).sign(new TextEncoder().encode("hunter2&+:%".repeat(4)));
  } else {
    token = await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid, ...header }).sign(await importJWK(key === "own" ? own : other));
  }
  response.end(token);
}

let fetches = 0;
let redemptions = 0;
const handle = provider.callback();
createServer((request, response) => {
  if (request.url === "/jwks") fetches += 1;
  if (request.url === "/token") redemptions += 1;
  const count = { "/fetches": fetches, "/redemptions": redemptions }[request.url];
  if (count !== undefined) {
    response.end(String(count));
    return;
  }
  const serve = request.url.startsWith("/interaction/") ? interact : request.url === "/sign" ? sign : handle;
  Promise.resolve(serve(request, response)).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
}).listen(Number(port), "127.0.0.1");
