"""Keys and certificates of one throw-away cluster, made with the openssl command.

One CA for everything; RBAC tells the clients apart by their names and groups.
"""

import base64
import json

from node import place

CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "apiserver-kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{place.NODE_NAME}",
}
SERVERS = {
    "apiserver": "/CN=kube-apiserver",
    "kubelet-server": f"/CN={place.NODE_NAME}",
}
NAMES = ",".join(
    [f"DNS:{name}" for name in (
        "localhost", place.NODE_NAME, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local")]
    + [f"IP:{address}" for address in ("127.0.0.1", place.NODE_IP, place.API_SERVICE_IP)]
)


def certificate(name: str, subject: str, *extensions: str, authority: bool = False) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
               "-subj", subject, "-keyout", place.PKI / f"{name}.key", "-out", place.PKI / f"{name}.crt"]
    if not authority:
        command += ["-CA", place.PKI / "ca.crt", "-CAkey", place.PKI / "ca.key"]
        extensions += ("basicConstraints=critical,CA:FALSE",)
    for extension in extensions:
        command += ["-addext", extension]
    place.run(*command)


def create() -> None:
    place.PKI.mkdir(exist_ok=True)
    certificate("ca", "/CN=routeapi-cluster", "keyUsage=critical,keyCertSign,cRLSign", authority=True)
    for name, subject in CLIENTS.items():
        certificate(name, subject, "extendedKeyUsage=clientAuth")
    for name, subject in SERVERS.items():
        certificate(name, subject, "extendedKeyUsage=serverAuth", f"subjectAltName={NAMES}")
    place.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", place.PKI / "sa.key")
    place.run("openssl", "pkey", "-in", place.PKI / "sa.key", "-pubout", "-out", place.PKI / "sa.pub")
    for name in CLIENTS:
        (place.PKI / f"{name}.conf").write_text(kubeconfig(name))
    place.KUBECONFIG.write_text(kubeconfig("admin"))
    place.KUBECONFIG.chmod(0o600)


def kubeconfig(client: str) -> str:
    def data(file: str) -> str:
        return base64.b64encode((place.PKI / file).read_bytes()).decode()

    return json.dumps({  # JSON is YAML
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "node",
        "contexts": [{"name": "node", "context": {"cluster": "node", "user": client}}],
        "clusters": [{"name": "node", "cluster": {
            "server": f"https://{place.NODE_IP}:6443", "certificate-authority-data": data("ca.crt")}}],
        "users": [{"name": client, "user": {
            "client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}}],
    })
