// An OpenID provider for tests: whoever names themselves is signed in, and `root` has the role of an operator.
// Arguments: its port, and the addresses to which it leads back, signed in and signed out.
import Provider from "oidc-provider";

const [port, redirectUri, signedOutUri] = process.argv.slice(2);

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "console",
    redirect_uris: [redirectUri],
    post_logout_redirect_uris: [signedOutUri],
    token_endpoint_auth_method: "none",
  }],
  claims: { openid: ["sub", "roles"] },
  conformIdTokenClaims: false,
  cookies: { keys: ["of a test"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, roles: id === "root" ? ["darkroom-operator"] : ["user"] }),
  }),
  pkce: { required: () => true },
});

provider.listen(Number(port), "127.0.0.1", () => process.stdout.write("listens\n"));
