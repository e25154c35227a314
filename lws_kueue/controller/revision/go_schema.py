"""Which fields the Go types behind a revision have, and which of them are left out when empty.

Revision keys are hashes of JSON that Go's encoder wrote (lws-contract 3.5), so what counts is not
what a field means but how its Go type is declared. One line a type, ``Type = field field ...``:

- ``field`` is a string that is left out when empty; ``field!`` is always written.
- ``field:TYPE`` has another type: ``bool``, ``int``, ``quantity``, ``intstr`` (a number or a
  string), ``time``, or the name of another line.
- ``:*TYPE`` is a pointer, kept as soon as it is set, even to a zero value; ``:[]TYPE`` is a list
  and ``:{}TYPE`` a map with string keys, left out when empty.
- A struct that is not a pointer is always written, with or without ``!``.

The table is that of Kubernetes 1.36. Metadata is cut down to what the CRD keeps of it.
"""

from dataclasses import dataclass
from functools import cache

_TABLE = """
AWSElasticBlockStoreVolumeSource = fsType partition:int readOnly:bool volumeID!
Affinity = nodeAffinity:*NodeAffinity podAffinity:*PodAffinity podAntiAffinity:*PodAntiAffinity
AppArmorProfile = localhostProfile:*string type!
AzureDiskVolumeSource = cachingMode:*string diskName! diskURI! fsType:*string kind:*string
    readOnly:*bool
AzureFileVolumeSource = readOnly:bool secretName! shareName!
CSIVolumeSource = driver! fsType:*string nodePublishSecretRef:*LocalObjectReference readOnly:*bool
    volumeAttributes:{}string
Capabilities = add:[]string drop:[]string
CephFSVolumeSource = monitors!:[]string path readOnly:bool secretFile
    secretRef:*LocalObjectReference user
CinderVolumeSource = fsType readOnly:bool secretRef:*LocalObjectReference volumeID!
ClaimRetentionPolicy = whenDeleted whenScaled
ClusterTrustBundleProjection = labelSelector:*LabelSelector name:*string optional:*bool path!
    signerName:*string
ConfigMapEnvSource = name optional:*bool
ConfigMapKeySelector = key! name optional:*bool
ConfigMapProjection = items:[]KeyToPath name optional:*bool
ConfigMapVolumeSource = defaultMode:*int items:[]KeyToPath name optional:*bool
Container = args:[]string command:[]string env:[]EnvVar envFrom:[]EnvFromSource image
    imagePullPolicy lifecycle:*Lifecycle livenessProbe:*Probe name! ports:[]ContainerPort
    readinessProbe:*Probe resizePolicy:[]ContainerResizePolicy resources:ResourceRequirements
    restartPolicy:*string restartPolicyRules:[]ContainerRestartRule
    securityContext:*SecurityContext startupProbe:*Probe stdin:bool stdinOnce:bool
    terminationMessagePath terminationMessagePolicy tty:bool volumeDevices:[]VolumeDevice
    volumeMounts:[]VolumeMount workingDir
ContainerPort = containerPort!:int hostIP hostPort:int name protocol
ContainerResizePolicy = resourceName! restartPolicy!
ContainerRestartRule = action exitCodes:*ContainerRestartRuleOnExitCodes
ContainerRestartRuleOnExitCodes = operator values:[]int
DownwardAPIProjection = items:[]DownwardAPIVolumeFile
DownwardAPIVolumeFile = fieldRef:*ObjectFieldSelector mode:*int path!
    resourceFieldRef:*ResourceFieldSelector
DownwardAPIVolumeSource = defaultMode:*int items:[]DownwardAPIVolumeFile
EmptyDirVolumeSource = medium sizeLimit:*quantity
EnvFromSource = configMapRef:*ConfigMapEnvSource prefix secretRef:*SecretEnvSource
EnvVar = name! value valueFrom:*EnvVarSource
EnvVarSource = configMapKeyRef:*ConfigMapKeySelector fieldRef:*ObjectFieldSelector
    fileKeyRef:*FileKeySelector resourceFieldRef:*ResourceFieldSelector
    secretKeyRef:*SecretKeySelector
EphemeralContainer = args:[]string command:[]string env:[]EnvVar envFrom:[]EnvFromSource image
    imagePullPolicy lifecycle:*Lifecycle livenessProbe:*Probe name! ports:[]ContainerPort
    readinessProbe:*Probe resizePolicy:[]ContainerResizePolicy resources:ResourceRequirements
    restartPolicy:*string restartPolicyRules:[]ContainerRestartRule
    securityContext:*SecurityContext startupProbe:*Probe stdin:bool stdinOnce:bool
    targetContainerName terminationMessagePath terminationMessagePolicy tty:bool
    volumeDevices:[]VolumeDevice volumeMounts:[]VolumeMount workingDir
EphemeralVolumeSource = volumeClaimTemplate:*PersistentVolumeClaimTemplate
ExecAction = command:[]string
FCVolumeSource = fsType lun:*int readOnly:bool targetWWNs:[]string wwids:[]string
FileKeySelector = key! optional:*bool path! volumeName!
FlexVolumeSource = driver! fsType options:{}string readOnly:bool secretRef:*LocalObjectReference
FlockerVolumeSource = datasetName datasetUUID
GCEPersistentDiskVolumeSource = fsType partition:int pdName! readOnly:bool
GRPCAction = port!:int service!:*string
GitRepoVolumeSource = directory repository! revision
GlusterfsVolumeSource = endpoints! path! readOnly:bool
HTTPGetAction = host httpHeaders:[]HTTPHeader path port!:intstr scheme
HTTPHeader = name! value!
HostAlias = hostnames:[]string ip!
HostPathVolumeSource = path! type:*string
ISCSIVolumeSource = chapAuthDiscovery:bool chapAuthSession:bool fsType initiatorName:*string iqn!
    iscsiInterface lun!:int portals:[]string readOnly:bool secretRef:*LocalObjectReference
    targetPortal!
ImageVolumeSource = pullPolicy reference
KeyToPath = key! mode:*int path!
LabelSelector = matchExpressions:[]LabelSelectorRequirement matchLabels:{}string
LabelSelectorRequirement = key! operator! values:[]string
LeaderWorkerTemplate = leaderTemplate:*PodTemplateSpec
    persistentVolumeClaimRetentionPolicy:*ClaimRetentionPolicy restartPolicy size:*int
    subGroupPolicy:*SubGroupPolicy volumeClaimTemplates:[]PersistentVolumeClaim
    workerTemplate!:PodTemplateSpec
Lifecycle = postStart:*LifecycleHandler preStop:*LifecycleHandler stopSignal:*string
LifecycleHandler = exec:*ExecAction httpGet:*HTTPGetAction sleep:*SleepAction
    tcpSocket:*TCPSocketAction
LocalObjectReference = name
ModifyVolumeStatus = status! targetVolumeAttributesClassName
NFSVolumeSource = path! readOnly:bool server!
NetworkConfig = subdomainPolicy!:*string
NodeAffinity = preferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm
    requiredDuringSchedulingIgnoredDuringExecution:*NodeSelector
NodeSelector = nodeSelectorTerms!:[]NodeSelectorTerm
NodeSelectorRequirement = key! operator! values:[]string
NodeSelectorTerm = matchExpressions:[]NodeSelectorRequirement
    matchFields:[]NodeSelectorRequirement
ObjectFieldSelector = apiVersion fieldPath!
ObjectMeta = annotations:{}string finalizers:[]string labels:{}string name namespace
PersistentVolumeClaim = apiVersion kind metadata:ObjectMeta spec:PersistentVolumeClaimSpec
    status:PersistentVolumeClaimStatus
PersistentVolumeClaimCondition = lastProbeTime:time lastTransitionTime:time message reason status!
    type!
PersistentVolumeClaimSpec = accessModes:[]string dataSource:*TypedLocalObjectReference
    dataSourceRef:*TypedObjectReference resources:VolumeResourceRequirements
    selector:*LabelSelector storageClassName:*string volumeAttributesClassName:*string
    volumeMode:*string volumeName
PersistentVolumeClaimStatus = accessModes:[]string allocatedResourceStatuses:{}string
    allocatedResources:{}quantity capacity:{}quantity conditions:[]PersistentVolumeClaimCondition
    currentVolumeAttributesClassName:*string modifyVolumeStatus:*ModifyVolumeStatus phase
PersistentVolumeClaimTemplate = metadata:ObjectMeta spec!:PersistentVolumeClaimSpec
PersistentVolumeClaimVolumeSource = claimName! readOnly:bool
PhotonPersistentDiskVolumeSource = fsType pdID!
PodAffinity = preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
    requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm
PodAffinityTerm = labelSelector:*LabelSelector matchLabelKeys:[]string mismatchLabelKeys:[]string
    namespaceSelector:*LabelSelector namespaces:[]string topologyKey!
PodAntiAffinity = preferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm
    requiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm
PodCertificateProjection = certificateChainPath credentialBundlePath keyPath keyType
    maxExpirationSeconds:*int signerName userAnnotations:{}string
PodDNSConfig = nameservers:[]string options:[]PodDNSConfigOption searches:[]string
PodDNSConfigOption = name value:*string
PodOS = name!
PodReadinessGate = conditionType!
PodResourceClaim = name! resourceClaimName:*string resourceClaimTemplateName:*string
PodSchedulingGate = name!
PodSchedulingGroup = podGroupName:*string
PodSecurityContext = appArmorProfile:*AppArmorProfile fsGroup:*int fsGroupChangePolicy:*string
    runAsGroup:*int runAsNonRoot:*bool runAsUser:*int seLinuxChangePolicy:*string
    seLinuxOptions:*SELinuxOptions seccompProfile:*SeccompProfile supplementalGroups:[]int
    supplementalGroupsPolicy:*string sysctls:[]Sysctl
    windowsOptions:*WindowsSecurityContextOptions
PodSpec = activeDeadlineSeconds:*int affinity:*Affinity automountServiceAccountToken:*bool
    containers!:[]Container dnsConfig:*PodDNSConfig dnsPolicy enableServiceLinks:*bool
    ephemeralContainers:[]EphemeralContainer hostAliases:[]HostAlias hostIPC:bool hostNetwork:bool
    hostPID:bool hostUsers:*bool hostname hostnameOverride:*string
    imagePullSecrets:[]LocalObjectReference initContainers:[]Container nodeName
    nodeSelector:{}string os:*PodOS overhead:{}quantity preemptionPolicy:*string priority:*int
    priorityClassName readinessGates:[]PodReadinessGate resourceClaims:[]PodResourceClaim
    resources:*ResourceRequirements restartPolicy runtimeClassName:*string schedulerName
    schedulingGates:[]PodSchedulingGate schedulingGroup:*PodSchedulingGroup
    securityContext:*PodSecurityContext serviceAccount serviceAccountName setHostnameAsFQDN:*bool
    shareProcessNamespace:*bool subdomain terminationGracePeriodSeconds:*int
    tolerations:[]Toleration topologySpreadConstraints:[]TopologySpreadConstraint volumes:[]Volume
PodTemplateSpec = metadata:ObjectMeta spec:PodSpec
PortworxVolumeSource = fsType readOnly:bool volumeID!
PreferredSchedulingTerm = preference!:NodeSelectorTerm weight!:int
Probe = exec:*ExecAction failureThreshold:int grpc:*GRPCAction httpGet:*HTTPGetAction
    initialDelaySeconds:int periodSeconds:int successThreshold:int tcpSocket:*TCPSocketAction
    terminationGracePeriodSeconds:*int timeoutSeconds:int
ProjectedVolumeSource = defaultMode:*int sources!:[]VolumeProjection
QuobyteVolumeSource = group readOnly:bool registry! tenant user volume!
RBDVolumeSource = fsType image! keyring monitors!:[]string pool readOnly:bool
    secretRef:*LocalObjectReference user
ResourceClaim = name! request
ResourceFieldSelector = containerName divisor:quantity resource!
ResourceRequirements = claims:[]ResourceClaim limits:{}quantity requests:{}quantity
RevisionSpec = leaderWorkerTemplate!:LeaderWorkerTemplate networkConfig:*NetworkConfig
SELinuxOptions = level role type user
ScaleIOVolumeSource = fsType gateway! protectionDomain readOnly:bool
    secretRef!:*LocalObjectReference sslEnabled:bool storageMode storagePool system! volumeName
SeccompProfile = localhostProfile:*string type!
SecretEnvSource = name optional:*bool
SecretKeySelector = key! name optional:*bool
SecretProjection = items:[]KeyToPath name optional:*bool
SecretVolumeSource = defaultMode:*int items:[]KeyToPath optional:*bool secretName
SecurityContext = allowPrivilegeEscalation:*bool appArmorProfile:*AppArmorProfile
    capabilities:*Capabilities privileged:*bool procMount:*string readOnlyRootFilesystem:*bool
    runAsGroup:*int runAsNonRoot:*bool runAsUser:*int seLinuxOptions:*SELinuxOptions
    seccompProfile:*SeccompProfile windowsOptions:*WindowsSecurityContextOptions
ServiceAccountTokenProjection = audience expirationSeconds:*int path!
SleepAction = seconds!:int
StorageOSVolumeSource = fsType readOnly:bool secretRef:*LocalObjectReference volumeName
    volumeNamespace
SubGroupPolicy = subGroupPolicyType:*string subGroupSize:*int
Sysctl = name! value!
TCPSocketAction = host port!:intstr
Toleration = effect key operator tolerationSeconds:*int value
TopologySpreadConstraint = labelSelector:*LabelSelector matchLabelKeys:[]string maxSkew!:int
    minDomains:*int nodeAffinityPolicy:*string nodeTaintsPolicy:*string topologyKey!
    whenUnsatisfiable!
TypedLocalObjectReference = apiGroup!:*string kind! name!
TypedObjectReference = apiGroup!:*string kind! name! namespace:*string
Volume = awsElasticBlockStore:*AWSElasticBlockStoreVolumeSource azureDisk:*AzureDiskVolumeSource
    azureFile:*AzureFileVolumeSource cephfs:*CephFSVolumeSource cinder:*CinderVolumeSource
    configMap:*ConfigMapVolumeSource csi:*CSIVolumeSource downwardAPI:*DownwardAPIVolumeSource
    emptyDir:*EmptyDirVolumeSource ephemeral:*EphemeralVolumeSource fc:*FCVolumeSource
    flexVolume:*FlexVolumeSource flocker:*FlockerVolumeSource
    gcePersistentDisk:*GCEPersistentDiskVolumeSource gitRepo:*GitRepoVolumeSource
    glusterfs:*GlusterfsVolumeSource hostPath:*HostPathVolumeSource image:*ImageVolumeSource
    iscsi:*ISCSIVolumeSource name! nfs:*NFSVolumeSource
    persistentVolumeClaim:*PersistentVolumeClaimVolumeSource
    photonPersistentDisk:*PhotonPersistentDiskVolumeSource portworxVolume:*PortworxVolumeSource
    projected:*ProjectedVolumeSource quobyte:*QuobyteVolumeSource rbd:*RBDVolumeSource
    scaleIO:*ScaleIOVolumeSource secret:*SecretVolumeSource storageos:*StorageOSVolumeSource
    vsphereVolume:*VsphereVirtualDiskVolumeSource
VolumeDevice = devicePath! name!
VolumeMount = mountPath! mountPropagation:*string name! readOnly:bool recursiveReadOnly:*string
    subPath subPathExpr
VolumeProjection = clusterTrustBundle:*ClusterTrustBundleProjection configMap:*ConfigMapProjection
    downwardAPI:*DownwardAPIProjection podCertificate:*PodCertificateProjection
    secret:*SecretProjection serviceAccountToken:*ServiceAccountTokenProjection
VolumeResourceRequirements = limits:{}quantity requests:{}quantity
VsphereVirtualDiskVolumeSource = fsType storagePolicyID storagePolicyName volumePath!
WeightedPodAffinityTerm = podAffinityTerm!:PodAffinityTerm weight!:int
WindowsSecurityContextOptions = gmsaCredentialSpec:*string gmsaCredentialSpecName:*string
    hostProcess:*bool runAsUserName:*string
"""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a type: ``shape`` is "", "*", "[]" or "{}", ``of`` what it holds."""

    name: str
    always: bool
    shape: str
    of: str


@cache
def types() -> dict[str, tuple[Field, ...]]:
    """Return the fields of every struct type."""
    joined = _TABLE.replace("\n    ", " ").strip()
    lines = (line.split(" = ") for line in joined.splitlines())
    return {name: tuple(_field(token) for token in fields.split()) for name, fields in lines}


def _field(token: str) -> Field:
    name, _, kind = token.partition(":")
    shape = next((shape for shape in ("*", "[]", "{}") if kind.startswith(shape)), "")
    of = kind.removeprefix(shape) or "string"
    return Field(name=name.removesuffix("!"), always=name.endswith("!"), shape=shape, of=of)
