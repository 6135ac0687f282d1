// A controller's view of one kind: an informer of client-go over pod templates, which says what it is told.
//
// It prints a line when it has listed them all, and one for each object that it is told of, until its standard input ends.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "the server")
	namespace := flag.String("namespace", "default", "where the objects are")
	content := flag.String("content-type", "application/json", "how they travel")
	flag.Parse()
	if err := run(*kubeconfig, *namespace, *content); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(kubeconfig, namespace, content string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.ContentType = content
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().PodTemplates().Informer()
	told := func(what string) func(any) {
		return func(object any) {
			if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = last.Obj
			}
			fmt.Println(what, object.(metav1.Object).GetName())
		}
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    told("added"),
		UpdateFunc: func(_, object any) { told("updated")(object) },
		DeleteFunc: told("deleted"),
	})
	if err != nil {
		return err
	}
	factory.Start(stop)
	for kind, synced := range factory.WaitForCacheSync(stop) {
		if !synced {
			return fmt.Errorf("the informer of %v did not sync", kind)
		}
	}
	fmt.Println("synced")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
