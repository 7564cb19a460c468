//! Steps of the network on the host, and why they fail.

texts! {
    "make the network" => "créer le réseau";
    "remove the network" => "supprimer le réseau";
    "make the bridge" => "créer le pont";
    "find {=name}" => "trouver {name}";
    "find the bridge {=bridge}" => "trouver le pont {bridge}";
    "remove the bridge" => "supprimer le pont";
    "serve addresses and names" => "servir adresses et noms";
    "dnsmasq is not installed" => "dnsmasq n’est pas installé";
    "if another program serves DNS on every address of the host, make it listen on its own addresses only" => "si un autre programme sert le DNS sur toutes les adresses de l’hôte, faites-le écouter seulement sur les siennes";
    "`{domain}` is not a domain" => "`{domain}` n’est pas un domaine";
    "{=address} is not IPv4" => "{address} n’est pas de l’IPv4";
    "read Docker's chain" => "lire la chaîne de Docker";
    "let the containers' traffic pass Docker" => "laisser passer le trafic des conteneurs à travers Docker";
    "add to the firewall" => "compléter le pare-feu";
    "set the firewall" => "régler le pare-feu";
    "remove the firewall" => "supprimer le pare-feu";
    "read the firewall" => "lire le pare-feu";
    "name the firewall" => "nommer le pare-feu";
    "install nftables (apt-get install nftables)" => "installez nftables (`apt-get install nftables`)";
    "switch forwarding on" => "activer le routage";
    "put forwarding back" => "rétablir le routage";
    "remember how forwarding was" => "retenir l’état du routage";
    "read the host's sockets" => "lire les sockets de l’hôte";
    "limit the container's link" => "limiter le lien du conteneur";
    "the kernel needs sch_tbf, sch_ingress, cls_u32, act_mirred and ifb; or leave rate-in and rate-out out" => "il faut au noyau sch_tbf, sch_ingress, cls_u32, act_mirred et ifb\u{202f}; sinon laissez rate-in et rate-out vides";
    "choose an IPv6 network" => "choisir un réseau IPv6";
    "read the host's routes" => "lire les routes de l’hôte";
    "read a MAC address" => "lire une adresse MAC";
    "connect the container to its network" => "relier le conteneur à son réseau";
    "`berth check` says whether the network can be made here" => "`berth check` dit si le réseau peut être créé ici";
    "a bridge takes 1,023 ports" => "un pont accepte 1\u{202f}023 ports";
    "make a link" => "créer un lien";
    "set the container's addresses" => "donner ses adresses au conteneur";
    "remove a link" => "supprimer un lien";
}
